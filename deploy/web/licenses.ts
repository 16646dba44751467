import { readdirSync, readFileSync } from "node:fs";
import type { Plugin } from "vite";

/** The licences of what may be in the built files. Their texts go with them. */
const SHIPPED = ["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "Unlicense"];

/** Further licences of what builds and checks the pages, and is in no built file. */
const USED = ["0BSD", "BlueOak-1.0.0", "CC0-1.0", "MIT-0", "MPL-2.0"];

/** A package of package-lock.json. */
interface Package {
  version: string;
  license?: string;
  dev?: boolean;
}

/** Fails where a package has a licence that is not admitted, and writes the texts of those that are shipped. */
export const licenses: Plugin = {
  name: "haven:licenses",
  apply: "build",
  generateBundle() {
    this.emitFile({ type: "asset", fileName: "licenses.txt", source: texts() });
  },
};

function texts(): string {
  const lock: { packages: Record<string, Package> } = JSON.parse(readFileSync("package-lock.json", "utf8"));
  const { "": _, ...packages } = lock.packages;
  const parts = ["The pages of Haven contain these packages, or parts of them."];
  for (const [path, { version, license = "", dev = false }] of Object.entries(packages)) {
    const name = path.replace(/^.*node_modules\//, "");
    const admitted = dev ? [...SHIPPED, ...USED] : SHIPPED;
    const together = license.replace(/[()]/g, "").split(" AND ");
    if (!together.every((terms) => terms.split(" OR ").some((one) => admitted.includes(one)))) {
      throw new Error(`${name} has the licence "${license}", which licenses.ts does not admit`);
    }
    if (!dev) {
      parts.push(`${"=".repeat(80)}\n${name} ${version}: ${license}`, ...own(path, together));
    }
  }
  return `${parts.join("\n\n")}\n`;
}

/** The text that a package has, and otherwise those in `licenses/`. */
function own(path: string, names: string[]): string[] {
  const file = readdirSync(path).find((name) => /^licen[cs]e(\.|$)/i.test(name));
  const files = file === undefined ? names.map((name) => `licenses/${name}.txt`) : [`${path}/${file}`];
  return files.map((file) => readFileSync(file, "utf8").trim());
}
