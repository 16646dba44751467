import { act } from "@testing-library/react";
import { createRoot } from "react-dom/client";
import { afterEach, expect, test, vi } from "vitest";
import { serve, signedInSession } from "../account/test-service";
import { wipeWhenLeft } from "./leaving";

afterEach(() => vi.unstubAllGlobals());

test("a page that is left keeps neither the session nor what was typed, and is loaded again when it is shown again", async () => {
  serve({});
  const session = await signedInSession();
  const element = document.createElement("div");
  const root = createRoot(element);
  const reload = vi.fn();
  wipeWhenLeft(root, session, reload);
  act(() => root.render(<input defaultValue="kX9vQ2wZ-ada" />));
  window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: false }));
  expect(element.innerHTML).toContain("kX9vQ2wZ-ada");
  expect(reload).not.toHaveBeenCalled();

  window.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
  expect(element.innerHTML).toBe("");
  expect(session.signedIn).toBeUndefined();
  expect(await session.accessToken()).toBeUndefined();

  window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
  expect(reload).toHaveBeenCalledOnce();
});
