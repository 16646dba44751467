import { mkdir } from "node:fs/promises";
import AxeBuilder from "@axe-core/playwright";
import { expect, type Page } from "@playwright/test";

/** Not in the repository: they are there to be looked at. */
const SCREENSHOTS = "screenshots";

/** The narrowest that WCAG asks for, 1280 pixels at a zoom of 400 %, and wide. */
const WIDTHS = [320, 1280];

/**
 * Checks the page as it is now, in light and dark, narrow and wide: axe finds nothing, nothing is cut off at the side. Makes a
 * screenshot of each.
 */
export async function checkPage(page: Page, name: string): Promise<void> {
  await mkdir(SCREENSHOTS, { recursive: true });
  const before = page.viewportSize();
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 900 });
      const look = `${name}-${colorScheme}-${width}`;
      // The page has no frames, for which axe would open another page each time.
      const { violations } = await new AxeBuilder({ page }).setLegacyMode().analyze();
      const found = violations.map(
        ({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(" ")}`,
      );
      expect(found, `axe, ${look}`).toEqual([]);
      const excess = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      expect(excess, `${look} is wider than the window`).toBeLessThanOrEqual(0);
      await page.screenshot({ path: `${SCREENSHOTS}/${look}.png`, fullPage: true });
    }
  }
  await page.emulateMedia({ colorScheme: null });
  if (before) {
    await page.setViewportSize(before);
  }
}
