import { useEffect } from "react";
import { Link } from "wouter";

export function NotFoundPage() {
  useEffect(() => {
    document.title = "Page not found · Haven";
  }, []);
  return (
    <>
      <h1>Page not found</h1>
      <p>
        There is no page with this address. <Link href="/">Sign up</Link> or <Link href="/sign-in">sign in</Link>.
      </p>
    </>
  );
}
