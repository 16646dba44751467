// Checks the custom resources of the rendered overlays against the schemas that packages of npm ship, and writes
// those of CloudNativePG as TypeScript, which `check` gives to tsc: for them, a package ships types only.
//
// node custom-resources.mjs SPECS.ts RENDERED.yaml…
import { readFileSync, writeFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import * as certManager from "@kubernetes-models/cert-manager/cert-manager.io/v1/index";
import * as prometheus from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index";

const models = { "cert-manager.io/v1": certManager, "monitoring.coreos.com/v1": prometheus };

// No package ships a schema of these.
const unchecked = ["barmancloud.cnpg.io/v1 ObjectStore", "postgresql.cnpg.io/v1 Pooler"];

// A package ships types of these.
const typed = ["postgresql.cnpg.io/v1 Cluster", "postgresql.cnpg.io/v1 ScheduledBackup"];

// The field is newer than the types.
const newer = (spec) => delete spec.postgresql?.synchronous?.failoverQuorum;

// The names of the generated types: `isWALArchiver` is `isWalArchiver` there, `pg_hba` is `pgHba`. The keys of these maps
// are values.
const maps = ["parameters", "labels", "matchLabels", "annotations", "requests", "limits"];
const camel = (key) =>
  key.replace(/[_-](.)/g, (_, c) => c.toUpperCase()).replace(/([A-Z])([A-Z]+)(?=[A-Z][a-z]|$)/g, (_, a, b) => a + b.toLowerCase());
const renamed = (value, parent) =>
  Array.isArray(value) ? value.map((item) => renamed(item))
  : value !== null && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([key, item]) =>
      maps.includes(parent) ? [key, item] : [camel(key), renamed(item, key)]))
  : value;

const [output, ...files] = process.argv.slice(2);
const written = [];
let checked = 0;
let wrong = 0;
for (const file of files) {
  for (const document of parseAllDocuments(readFileSync(file, "utf8"))) {
    const resource = document.toJS();
    const kind = `${resource.apiVersion} ${resource.kind}`;
    const Model = models[resource.apiVersion]?.[resource.kind];
    try {
      if (Model) {
        new Model(resource).validate();
        checked += 1;
      } else if (typed.includes(kind)) {
        newer(resource.spec);
        written.push([resource.kind, renamed(resource.spec)]);
        checked += 1;
      } else if (/^[^/]+\.(io|com)\/v1$/.test(resource.apiVersion) && !/\.k8s\.io\//.test(resource.apiVersion) && !unchecked.includes(kind)) {
        throw new Error("no schema is known, and the list `unchecked` lacks it");
      }
    } catch (error) {
      wrong += 1;
      console.error(`${file}: ${kind} ${resource.metadata.name}: ${error.message}`);
    }
  }
}
writeFileSync(output, `import type { ClusterSpec, ScheduledBackupSpec } from "@cdk8s-kit/crds/pg";
// Enums as the strings that YAML has, and quantities as strings or numbers.
type Plain<T> = T extends string ? \`\${T}\`
  : T extends number | boolean | undefined | null | Date ? T
  : T extends readonly (infer I)[] ? readonly Plain<I>[]
  : T extends { readonly value: number | string } ? (keyof T extends "value" ? string | number : { [K in keyof T]: Plain<T[K]> })
  : T extends object ? (string extends keyof T ? Record<string, string | number> : { [K in keyof T]: Plain<T[K]> })
  : T;
${written.map(([kind, spec], index) => `export const spec${index}: Plain<${kind}Spec> = ${JSON.stringify(spec, null, 2)};`).join("\n")}
`);
console.log(`kubernetes: ${checked} custom resources have a schema, ${wrong} do not satisfy theirs`);
if (wrong > 0) process.exit(1);
