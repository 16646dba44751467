import { AuditEventType as DataEvent } from "../gen/haven/data/v1/person_pb";
import { AuditEventType as AccountEvent } from "../gen/haven/identity/v1/account_pb";

const ACCOUNT_EVENTS: Record<number, string> = {
  [AccountEvent.SIGN_UP]: "the account was created",
  [AccountEvent.SIGN_IN]: "sign-in",
  [AccountEvent.SIGN_OUT]: "a session was ended",
  [AccountEvent.PASSWORD_CHANGE]: "change of the password",
  [AccountEvent.TOKEN_REUSE]: "a token was used twice, and its session was ended",
  [AccountEvent.CONSENT_GRANT]: "a consent was granted",
  [AccountEvent.CONSENT_WITHDRAW]: "a consent was withdrawn",
  [AccountEvent.STAGE]: "a stage was reached",
  [AccountEvent.DELETION]: "deletion of the account",
  [AccountEvent.PASSWORD_RESET_REQUEST]: "a reset of the password was requested",
  [AccountEvent.PASSWORD_RESET]: "reset of the password",
  [AccountEvent.EMAIL_VERIFICATION_REQUEST]: "a verification of the e-mail address was requested",
  [AccountEvent.EMAIL_VERIFICATION]: "the e-mail address was verified",
  [AccountEvent.EMAIL_CHANGE_REQUEST]: "a change of the e-mail address was requested",
  [AccountEvent.EMAIL_CHANGE]: "the e-mail address was changed",
  [AccountEvent.EMAIL_UNDO]: "a change of the e-mail address was taken back",
  [AccountEvent.ACCOUNT_EXPORT]: "export of the account",
  [AccountEvent.ACCOUNT_IMPORT]: "the account was imported from another system",
};

const DATA_EVENTS: Record<number, string> = {
  [DataEvent.DEVICE_REGISTERED]: "a device was registered",
  [DataEvent.DEVICE_KEY_ROTATED]: "the key of a device was rotated",
  [DataEvent.DEVICE_SUSPENDED]: "a device was suspended",
  [DataEvent.DEVICE_REVOKED]: "a device was revoked",
  [DataEvent.SHARE_CREATED]: "a share was created",
  [DataEvent.SHARE_REVOKED]: "a share was revoked",
  [DataEvent.DATA_EXPORTED]: "export of the data",
};

/** Says what an event of the identity service is. A newer server can have types that this page does not know. */
export function accountEventOf(type: AccountEvent): string {
  return ACCOUNT_EVENTS[type] ?? `event of type ${type}`;
}

/** Says what an event of the data service is. */
export function dataEventOf(type: DataEvent): string {
  return DATA_EVENTS[type] ?? `event of type ${type}`;
}
