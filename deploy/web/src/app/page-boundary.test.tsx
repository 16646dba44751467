import { render, screen } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { Suspense } from "react";
import { beforeEach, expect, test, vi } from "vitest";
import { expectFocus } from "../test-focus";
import { forgetPages, type Load, LoadedPage } from "./loaded-page";
import { PageBoundary } from "./page-boundary";

// React reports what a boundary catches.
beforeEach(() => void vi.spyOn(console, "error").mockImplementation(() => {}));

function open(load: Load) {
  render(
    <PageBoundary onAgain={forgetPages}>
      <Suspense>
        <LoadedPage load={load} />
      </Suspense>
    </PageBoundary>,
  );
  return userEvent.setup();
}

const again = () => screen.getByRole("button", { name: "Load this page again" });

test("a page that was not loaded is loaded again, as often as it takes", async () => {
  let failures = 2;
  let count = 0;
  const user = open(async () => {
    count += 1;
    if (failures > 0) {
      failures -= 1;
      throw new TypeError("Failed to fetch dynamically imported module");
    }
    return { default: () => <h1>Arrived</h1> };
  });
  const heading = await screen.findByRole("heading", { level: 1, name: "The page cannot be shown" });
  await expectFocus(heading);
  expect(document.title).toBe("The page cannot be shown · Haven");
  expect(screen.getByRole("alert")).toHaveTextContent("Check the connection");
  await user.click(again());
  await expectFocus(await screen.findByRole("heading", { name: "The page cannot be shown" }));
  expect(count).toBe(2);
  await user.click(again());
  expect(await screen.findByRole("heading", { name: "Arrived" })).toBeVisible();
  expect(screen.queryByRole("alert")).toBeNull();
  expect(count).toBe(3);
});

test("a page that fails while it is shown can be shown again", async () => {
  let isBroken = true;
  const user = open(async () => ({
    default: () => {
      if (isBroken) {
        throw new TypeError("undefined is not a function");
      }
      return <h1>Shown</h1>;
    },
  }));
  await screen.findByRole("alert");
  isBroken = false;
  await user.click(again());
  expect(await screen.findByRole("heading", { name: "Shown" })).toBeVisible();
});
