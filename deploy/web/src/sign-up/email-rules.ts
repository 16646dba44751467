/**
 * The rules for an e-mail address by the server's names, with the text that a person reads. The page itself finds what can be
 * told without tables of Unicode and of domain names; the server finds the rest. The cases that both are held to are in
 * `services/identity/src/domain/sign_up_cases.json`.
 */
export const emailRules: Record<string, string> = {
  REQUIRED: "Enter your e-mail address.",
  TOO_LONG: "The address must have at most 254 bytes.",
  INVISIBLE_CHARACTER: "The address must have no spaces inside, and no invisible characters.",
  NO_AT_SIGN: "The address must have an @.",
  LOCAL_PART_EMPTY: "The address must have a part before the @.",
  LOCAL_PART_TOO_LONG: "The part before the @ must have at most 64 bytes.",
  LOCAL_PART_CHARACTER: "The part before the @ has a character that is not allowed there.",
  LOCAL_PART_DOTS: "Before the @, each dot must be between other characters.",
  DOMAIN_INVALID: "The part after the @ must be a domain name, such as example.org.",
  DOMAIN_WITHOUT_DOT: "The part after the @ must have a dot.",
  EMAIL_TAKEN: "An account with this address exists.",
};

const invisible = /[\p{Cc}\p{Cf}\p{Z}\p{Default_Ignorable_Code_Point}]/gu;
/** The joiners, which the domain names of some scripts need, are left to the server. */
const invisibleInDomain = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Z}\p{Default_Ignorable_Code_Point}]/gu;
/** The at sign, and the characters that are compatible with it. */
const atSign = /[@\uff20\ufe6b](?=[^@\uff20\ufe6b]*$)/u;
const otherAscii = /[^A-Za-z0-9.!#$%&'*+/=?^_`{|}~\u0080-\u{10ffff}-]/u;
const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;

/** Returns the names of the rules that `typed` breaks, as far as a page can tell. */
export function brokenEmailRules(typed: string): string[] {
  const address = trimAscii(typed);
  if (address === "") {
    return ["REQUIRED"];
  }
  if (bytes(address) > 254) {
    return ["TOO_LONG"];
  }
  const at = address.search(atSign);
  if (at < 0) {
    return [...(visible(address, invisible) === address ? [] : ["INVISIBLE_CHARACTER"]), "NO_AT_SIGN"];
  }
  const [localTyped, domainTyped] = [address.slice(0, at), address.slice(at + 1)];
  const [local, domain] = [visible(localTyped, invisible), visible(domainTyped, invisibleInDomain)];
  const broken = local === localTyped && domain === domainTyped ? [] : ["INVISIBLE_CHARACTER"];
  return [...broken, ...brokenLocalPartRules(local), ...brokenDomainRules(domain)];
}

function brokenLocalPartRules(local: string): string[] {
  if (local === "") {
    return ["LOCAL_PART_EMPTY"];
  }
  const folded = local.normalize("NFKC");
  const broken = folded.split(".").includes("") ? ["LOCAL_PART_DOTS"] : [];
  if (otherAscii.test(folded)) {
    return [...broken, "LOCAL_PART_CHARACTER"];
  }
  return bytes(local) > 64 ? [...broken, "LOCAL_PART_TOO_LONG"] : broken;
}

function brokenDomainRules(domain: string): string[] {
  // Other scripts need the tables of IDNA.
  if (/[^\0-\x7f]/.test(domain)) {
    return [];
  }
  const labels = domain.split(".");
  if (!labels.every((part) => label.test(part))) {
    return ["DOMAIN_INVALID"];
  }
  if (labels.length === 1) {
    return ["DOMAIN_WITHOUT_DOT"];
  }
  // No top-level domain is a number: that is an IP address.
  return /^\d+$/.test(labels.at(-1) ?? "") ? ["DOMAIN_INVALID"] : [];
}

/** Returns `text` without the white space of ASCII around it, which comes with pasted text. */
export function trimAscii(text: string): string {
  const isSpace = (at: number) => "\t\n\f\r ".includes(text.charAt(at));
  let [start, end] = [0, text.length];
  while (start < end && isSpace(start)) {
    start++;
  }
  while (start < end && isSpace(end - 1)) {
    end--;
  }
  return text.slice(start, end);
}

function visible(text: string, pattern: RegExp): string {
  return text.replace(pattern, "");
}

function bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}
