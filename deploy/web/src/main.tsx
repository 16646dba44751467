import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Session } from "./api/session";
import { App } from "./app/app";
import { wipeWhenLeft } from "./app/leaving";
import { SessionContext } from "./app/session-context";
import { loadConfig } from "./config";
import { Alert } from "./ui/alert";
import "./ui/style.css";

const root = createRoot(document.getElementById("root") ?? document.body);

try {
  const session = new Session(await loadConfig());
  wipeWhenLeft(root, session);
  root.render(
    <StrictMode>
      <SessionContext value={session}>
        <App />
      </SessionContext>
    </StrictMode>,
  );
} catch {
  root.render(
    <main>
      <h1>Haven</h1>
      <Alert kind="error">The page could not be started. Check the connection, and load the page again.</Alert>
    </main>,
  );
}
