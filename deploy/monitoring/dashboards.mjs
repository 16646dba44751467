// Writes the dashboards as TypeScript, which `check` gives to tsc: Grafana's package of npm ships types and no schema.
//
// node dashboards.mjs OUTPUT.ts DASHBOARD.json…
import { readFileSync, writeFileSync } from "node:fs";

const [output, ...files] = process.argv.slice(2);
const raw = "@grafana/schema/dist/esm/raw/composable";
writeFileSync(output, `import type { Dashboard, DataQuery, Panel } from "@grafana/schema";
import type { Options as Stat } from "${raw}/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { Options as TimeSeries } from "${raw}/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
// Enums as the strings that JSON has.
type Plain<T> = T extends string ? \`\${T}\`
  : T extends (infer I)[] ? Plain<I>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> }
  : T;
// The package has no type of a query of Prometheus beyond what all queries have.
type Query = Plain<DataQuery> & { expr: string; legendFormat: string; instant: boolean; range: boolean };
// The type Panel leaves its queries and options open.
type Base = Omit<Plain<Panel>, "type" | "targets" | "options"> & { targets: Query[] };
type Known = Base & { type: "timeseries"; options: Plain<TimeSeries> } | Base & { type: "stat"; options: Plain<Stat> };
type Checked = Omit<Plain<Dashboard>, "panels"> & { panels: Known[] };
${files.map((file, index) => `export const dashboard${index}: Checked = ${readFileSync(file, "utf8")};`).join("\n")}
`);
