import { DeviceType } from "../gen/haven/data/v1/share_pb";

/** The type of this device, which the owner of a share sees in the list of openings. A statement, not a proof. */
export function deviceType(): DeviceType {
  const { userAgent, maxTouchPoints } = navigator;
  // An iPad calls itself a Macintosh, and no Macintosh has a touchscreen.
  const mobile = /Mobi|Android|iPhone|iPad/.test(userAgent) || (userAgent.includes("Macintosh") && maxTouchPoints > 1);
  return mobile ? DeviceType.MOBILE : DeviceType.DESKTOP;
}
