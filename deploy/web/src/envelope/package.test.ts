// @vitest-environment node
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";

test("Node.js runs what tsc makes of this folder, without a bundler", { timeout: 60_000 }, () => {
  // Below node_modules, so that the two libraries are found.
  const directory = mkdtempSync(resolve("node_modules/.envelope-"));
  try {
    const tsc = ["node_modules/typescript/bin/tsc", "--ignoreConfig", "src/envelope/index.ts", "--outDir", directory];
    const options = ["--module", "nodenext", "--target", "es2023", "--lib", "es2023,dom", "--types", "node"];
    execFileSync(process.execPath, [...tsc, ...options, "--strict", "--skipLibCheck", "--verbatimModuleSyntax"]);
    writeFileSync(join(directory, "package.json"), '{ "type": "module" }');
    const program = `
      import { Secret, shareBinding } from "${join(directory, "index.js")}";
      const [secret, id] = [Secret.generate(), "01990000-0000-7000-8000-000000000001"];
      const { payload, envelope } = await secret.seal(new TextEncoder().encode("28"), shareBinding(id, id), { keyId: id, keyVersion: 1 });
      console.log(new TextDecoder().decode(await secret.open(payload, envelope, shareBinding(id, id))));`;
    const output = execFileSync(process.execPath, ["--input-type=module", "--eval", program], { encoding: "utf8" });
    expect(output).toBe("28\n");
  } finally {
    rmSync(directory, { recursive: true });
  }
});
