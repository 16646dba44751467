import type { ExportDataResponse } from "../../gen/haven/data/v1/person_pb";
import type { ExportAccountResponse } from "../../gen/haven/identity/v1/account_pb";

/** The number of rows by table. */
export type Rows = ReadonlyMap<string, number>;

/** Counts the rows of a part of the account's export, by the tables of the manifest. */
export function accountRows(part: ExportAccountResponse): Rows {
  return new Map([
    ["identity.users", part.account ? 1 : 0],
    ["identity.consents", part.consents.length],
    ["identity.sessions", part.sessions.length],
    ["identity.refresh_tokens", part.refreshTokens.length],
    ["identity.device_tokens", part.deviceTokens.length],
    ["identity.recovery_tokens", part.recoveryTokens.length],
    ["identity.security_audit_log", part.auditEvents.length],
  ]);
}

/** Counts the rows of a part of the data's export. Rows that the server cannot decrypt count for their table. */
export function dataRows(part: ExportDataResponse): Rows {
  const rows = new Map([
    ["data.conversations", part.messages.length],
    ["data.analysis_results", part.analyses.length],
    ["data.analysis_jobs", part.analysisJobs.length],
    ["data.crisis_events", part.crisisEvents.length],
    ["data.device_key", part.devices.length],
    ["data.encrypted_cycle_data", part.records.length],
    ["data.cycle_data_conflicts", part.conflicts.length],
    ["data.encrypted_user_prefs", part.preferences ? 1 : 0],
    ["data.healthcare_share", part.shares.length],
    ["data.healthcare_share_audit", part.shareAccesses.length],
    ["data.security_audit_log", part.auditEvents.length],
  ]);
  for (const { table } of part.unreadable) {
    rows.set(table, (rows.get(table) ?? 0) + 1);
  }
  return rows;
}

/** Returns the sum of two counts. */
export function sumOf(one: Rows, other: Rows): Rows {
  const sum = new Map(one);
  for (const [table, rows] of other) {
    sum.set(table, (sum.get(table) ?? 0) + rows);
  }
  return sum;
}

/** Returns the tables of which another number of rows arrived than the manifest states, as sentences. */
export function differencesOf(arrived: Rows, manifest: Rows): string[] {
  const tables = new Set([...arrived.keys(), ...manifest.keys()]);
  return [...tables].flatMap((table) => {
    const [has, states] = [arrived.get(table) ?? 0, manifest.get(table) ?? 0];
    return has === states ? [] : [`${table}: ${has} rows arrived, and the service exported ${states}.`];
  });
}

/** Returns the number of all rows. */
export function totalOf(rows: Rows): number {
  return [...rows.values()].reduce((sum, count) => sum + count, 0);
}
