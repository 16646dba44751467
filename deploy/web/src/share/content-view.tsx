import { useMemo } from "react";
import { fileOf, readContent } from "./content";
import { JsonView } from "./json-view";
import { saveFile } from "./save-file";

/** A decrypted content: text, or JSON as a table, or neither; and a button that saves it. */
export function ContentView({ bytes }: { bytes: Uint8Array }) {
  const content = useMemo(() => readContent(bytes), [bytes]);
  const { name, type } = fileOf(content);
  return (
    <>
      {content.kind === "text" && (
        <pre className="shared" dir="auto">
          {content.text}
        </pre>
      )}
      {content.kind === "json" && (
        <>
          <JsonView value={content.value} path="content" />
          <details>
            <summary>As it was sent</summary>
            <pre className="shared">{content.text}</pre>
          </details>
        </>
      )}
      {content.kind === "binary" && (
        <p>
          The content is not text, so this page cannot show it. Save it as a file, and open it with a program for it.
        </p>
      )}
      <p>
        <button type="button" className="secondary" onClick={() => saveFile(bytes, name, type)}>
          Save as {name}
        </button>
      </p>
    </>
  );
}
