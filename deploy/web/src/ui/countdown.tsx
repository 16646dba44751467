import { useEffect, useState } from "react";

/** The seconds until `end`, in milliseconds since the epoch; 0 afterwards. Renders once a second. */
export function useCountdown(end: number | undefined): number {
  const [now, setNow] = useState(Date.now());
  const running = end !== undefined && now < end;
  useEffect(() => {
    if (!running) {
      return;
    }
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [running]);
  useEffect(() => {
    if (end !== undefined) {
      setNow(Date.now());
    }
  }, [end]);
  return end === undefined ? 0 : Math.max(0, Math.ceil((end - now) / 1000));
}
