import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "../gen/google/rpc/error_details_pb";

/** A rule that a field of a request breaks, as the server found it. */
export interface Violation {
  /** The path of the field, such as `consents[0].document_version`; empty for the request as a whole. */
  field: string;
  /** The name of the rule, such as `TOO_SHORT`. Pages decide by it, never by the text. */
  reason: string;
  description: string;
}

/** A failed call. Every failure of Haven has one reason of `haven.errors.v1.Reason`. */
export interface Failure {
  /**
   * The reason, such as `EMAIL_TAKEN`. Two are added here. `UNREACHABLE`: there was no answer, so the call may have been applied,
   * and is sent again with the same request ID. `PAGE_DEFECT`: what failed was no call, but the page.
   */
  reason: string;
  message: string;
  violations: Violation[];
  metadata: Record<string, string>;
  /** The time in milliseconds after which the call may succeed. */
  retryAfter: number | undefined;
  /** The ID of the request in the logs of the service, for reports. */
  requestId: string | undefined;
}

const TRANSIENT = [
  "UNREACHABLE",
  "OVERLOADED",
  "TOO_MANY_CALLS",
  "DEADLINE",
  "DEPENDENCY_UNAVAILABLE",
  "DRAINING",
  "CLIENT_TOO_SLOW",
];

/** Reads what the server says about a failed call. */
export function failureOf(error: unknown): Failure {
  const failed = ConnectError.from(error);
  const info = failed.findDetails(ErrorInfoSchema).find((detail) => detail.domain === "haven");
  const delay = failed.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const violations = failed.findDetails(BadRequestSchema).flatMap((detail) => detail.fieldViolations);
  return {
    reason: info?.reason ?? reasonWithoutDetails(failed, error),
    message: failed.rawMessage,
    violations: violations.map(({ field, reason, description }) => ({
      field,
      reason,
      // The server marks names as developers do.
      description: description.replace(/`([^`]*)`/g, "“$1”"),
    })),
    metadata: info?.metadata ?? {},
    retryAfter: delay ? Number(delay.seconds) * 1000 + delay.nanos / 1e6 : undefined,
    requestId: failed.findDetails(RequestInfoSchema)[0]?.requestId || undefined,
  };
}

/** Whether the call may have been applied without an answer, or was refused for a moment. */
export function isTransient(failure: Failure): boolean {
  return TRANSIENT.includes(failure.reason);
}

/** A failure without Haven's details comes from the browser or from something between it and the service. */
function reasonWithoutDetails(failed: ConnectError, error: unknown): string {
  switch (failed.code) {
    case Code.DeadlineExceeded:
      return "DEADLINE";
    case Code.Canceled:
      return "CANCELLED";
    default:
      // connect gives every failure of a call its own type.
      return failed === error ? "UNREACHABLE" : "PAGE_DEFECT";
  }
}
