import { mkdir } from "node:fs/promises";
import AxeBuilder from "@axe-core/playwright";
import { expect, type Locator, type Page } from "@playwright/test";

/** Not in the repository: they are there to be looked at. */
const SCREENSHOTS = "screenshots";

/** The attribute by which axe finds a part. */
const MARK = "data-checked";

/** The narrowest that WCAG asks for, 1280 pixels at a zoom of 400 %, and wide. */
const [NARROW, WIDE] = [320, 1280];

/** A colour scheme and a width in which a page is shown. */
interface Look {
  colorScheme: "light" | "dark";
  width: number;
}

/**
 * Checks the page as it is now, in light and dark, narrow and wide: axe finds nothing, nothing is cut off at the side. Makes a
 * screenshot of each.
 */
export async function checkPage(page: Page, name: string): Promise<void> {
  const looks: Look[] = [];
  for (const colorScheme of ["light", "dark"] as const) {
    looks.push({ colorScheme, width: NARROW }, { colorScheme, width: WIDE });
  }
  await check(page, name, looks);
}

/**
 * Checks a part of a page that is checked as a whole in another state: narrow in light, wide in dark. Colours do not depend on the
 * width, and sizes not on the colours.
 */
export async function checkPart(part: Locator, name: string): Promise<void> {
  const looks: Look[] = [
    { colorScheme: "light", width: NARROW },
    { colorScheme: "dark", width: WIDE },
  ];
  await check(part.page(), name, looks, part);
}

async function check(page: Page, name: string, looks: Look[], part?: Locator): Promise<void> {
  await mkdir(SCREENSHOTS, { recursive: true });
  const before = page.viewportSize();
  for (const { colorScheme, width } of looks) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 900 });
    const look = `${name}-${colorScheme}-${width}`;
    // The page has no frames, for which axe would open another page each time.
    const axe = new AxeBuilder({ page }).setLegacyMode();
    if (part) {
      await part.evaluate((element, mark) => element.setAttribute(mark, ""), MARK);
      axe.include(`[${MARK}]`);
    }
    const { violations } = await axe.analyze();
    const found = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(" ")}`);
    expect(found, `axe, ${look}`).toEqual([]);
    const excess = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(excess, `${look} is wider than the window`).toBeLessThanOrEqual(0);
    const path = `${SCREENSHOTS}/${look}.png`;
    await (part ? part.screenshot({ path }) : page.screenshot({ path, fullPage: true }));
  }
  await part?.evaluate((element, mark) => element.removeAttribute(mark), MARK);
  await page.emulateMedia({ colorScheme: null });
  if (before) {
    await page.setViewportSize(before);
  }
}
