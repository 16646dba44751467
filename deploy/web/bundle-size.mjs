// Fails when what the sign-up page loads, which is the first that a visitor sees, is more than its budget.
// biome-ignore-all lint/suspicious/noConsole: it is a command
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { gzipSync } from "node:zlib";

/** All scripts and styles of `/`, in bytes of gzip. */
const BUDGET = 120_000;

const page = readFileSync("dist/index.html", "utf8");
const files = new Set([...page.matchAll(/(?:src|href)="\/(assets\/[^"]+\.(?:js|css))"/g)].map(([, file]) => file));
// A set also visits what is added during the visit: the modules that these import, but not those that they load later.
for (const file of files) {
  if (file.endsWith(".js")) {
    const code = readFileSync(`dist/${file}`, "utf8");
    for (const [, imported] of code.matchAll(/(?:^|[;}])import(?:[\w$*\s{},]*?from)?"\.\/([^"]+\.js)"/g)) {
      files.add(`assets/${imported}`);
    }
  }
}

let sum = 0;
for (const file of files) {
  const size = gzipSync(readFileSync(`dist/${file}`), { level: 9 }).length;
  console.log(`${String(size).padStart(7)}  ${basename(file)}`);
  sum += size;
}
console.log(`${String(sum).padStart(7)}  of ${BUDGET} bytes that the sign-up page may load`);
if (files.size < 2) {
  console.error("web: dist/index.html names no scripts and styles: has its form changed?");
  process.exit(1);
}
if (sum > BUDGET) {
  console.error(`web: the sign-up page loads ${sum - BUDGET} bytes too much`);
  process.exit(1);
}
