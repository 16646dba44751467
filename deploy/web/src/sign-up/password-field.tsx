import { type ComponentProps, useId, useState } from "react";
import type { EntryClients } from "../api/clients";
import { Field } from "../ui/field";
import { usePasswordCheck } from "./password-check";
import { brokenPasswordRules, type PasswordPolicy, type RuleState, ruleState } from "./password-rules";

interface PasswordFieldProps extends ComponentProps<"input"> {
  label?: string;
  accounts: EntryClients["accounts"];
  policy: PasswordPolicy | undefined;
  typed: string;
  email: string;
  errors: string[];
}

const marks: Record<RuleState, string> = { met: "✓", unmet: "✗", unknown: "·" };
const words: Record<RuleState, string> = { met: "met", unmet: "not met", unknown: "not checked yet" };

/** The input of a new password, with the rules of the policy, which are shown as met or not while a person types. */
export function PasswordField({
  label = "Password",
  accounts,
  policy,
  typed,
  email,
  errors,
  ...input
}: PasswordFieldProps) {
  const id = useId();
  const [isShown, setIsShown] = useState(false);
  const broken = policy ? brokenPasswordRules(typed, email, policy) : [];
  const isChecked = typed !== "" && !broken.includes("TOO_LONG");
  const answer = usePasswordCheck(accounts, typed, email, isChecked);
  const states = policy?.rules.map((rule) => ({ ...rule, state: ruleState(rule.name, broken, answer) })) ?? [];
  const unmet = states.filter(({ state }) => state !== "met").length;
  return (
    <>
      <Field
        {...input}
        label={label}
        type={isShown ? "text" : "password"}
        autoComplete="new-password"
        autoCapitalize="none"
        autoCorrect="off"
        spellCheck={false}
        errors={errors}
        aria-describedby={`${id}-rules`}
      />
      <button type="button" className="secondary" aria-pressed={isShown} onClick={() => setIsShown(!isShown)}>
        Show password
      </button>
      <ul className="rules" id={`${id}-rules`}>
        {states.map(({ name, description, state }) => (
          <li key={name} className={state === "unknown" ? "unmet" : state} data-rule={name} data-state={state}>
            <span aria-hidden="true">{marks[state]}</span> {description} ({words[state]})
          </li>
        ))}
      </ul>
      <p role="status" className="hint">
        {answer && (unmet === 0 ? "The password meets all rules." : `Rules that are not met: ${unmet}.`)}
      </p>
    </>
  );
}
