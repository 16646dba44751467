import { type Client, createClient } from "@connectrpc/connect";
import { connect } from "../api/clients";
import type { Config } from "../config";
import { ShareService } from "../gen/haven/data/v1/share_pb";

export type ShareClient = Client<typeof ShareService>;

/** The client that opens shares. It sends no access token: a share is opened without an account. */
export function shareClient(config: Config): ShareClient {
  return createClient(
    ShareService,
    connect(config.data, async () => undefined),
  );
}
