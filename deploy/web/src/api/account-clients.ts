import { type Client, createClient } from "@connectrpc/connect";
import { PersonService } from "../gen/haven/data/v1/person_pb";
import { AccountService } from "../gen/haven/identity/v1/account_pb";
import { RecoveryService } from "../gen/haven/identity/v1/recovery_pb";
import { SessionService } from "../gen/haven/identity/v1/session_pb";
import { connect } from "./clients";
import { guard } from "./guard";
import type { Session } from "./session";

/** The clients of the account pages, made from the whole contract. The sign-up page does not load them. */
export interface AccountClients {
  accounts: Client<typeof AccountService>;
  sessions: Client<typeof SessionService>;
  recovery: Client<typeof RecoveryService>;
  /** The data service: its audit log and its export. */
  people: Client<typeof PersonService>;
}

const clients = new WeakMap<Session, AccountClients>();

/** Returns the clients of a session. There is one set for each session. */
export function accountClients(session: Session): AccountClients {
  let made = clients.get(session);
  if (!made) {
    const open = (address: string) =>
      guard(
        connect(address, () => session.accessToken()),
        session,
      );
    const identity = open(session.config.identity);
    made = {
      accounts: createClient(AccountService, identity),
      sessions: createClient(SessionService, identity),
      recovery: createClient(RecoveryService, identity),
      people: createClient(PersonService, open(session.config.data)),
    };
    clients.set(session, made);
  }
  return made;
}
