import { waitFor } from "@testing-library/react";
import { expect } from "vitest";

/** Waits until `element` has the focus: an effect moves it, after the element is in the document. */
export async function expectFocus(element: HTMLElement): Promise<void> {
  await waitFor(() => expect(element).toHaveFocus());
}
