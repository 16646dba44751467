import { type ReactNode, useEffect, useState } from "react";

/** A link that saves a file which was made in the page. The file is forgotten with the link. */
export function FileLink({ file, name, children }: { file: Blob; name: string; children: ReactNode }) {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const made = URL.createObjectURL(file);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  return (
    <a href={url} download={name}>
      {children}
    </a>
  );
}
