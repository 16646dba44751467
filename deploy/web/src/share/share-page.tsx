import "./share.css";
import { useState } from "react";
import { useSession } from "../app/session-context";
import { startDecryptor } from "./decryption";
import { shareClient } from "./share-client";
import { ShareReader } from "./share-reader";
import { ShareView } from "./share-view";

/** Opens a share: `/share#<token>.<secret>`. The person who opens it has no account. */
export default function SharePage() {
  const { config } = useSession();
  const [reader] = useState(() => new ShareReader(shareClient(config), startDecryptor));
  return <ShareView reader={reader} />;
}
