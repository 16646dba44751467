import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useForm } from "react-hook-form";
import { type Failure, failureOf } from "../api/failure";
import { useSession } from "../app/session-context";
import { Alert } from "../ui/alert";
import { useCountdown } from "../ui/countdown";
import { Field } from "../ui/field";
import { SignUpAttempts, type SignUpContent } from "./attempts";
import { ChoiceGroup } from "./choice-group";
import { changesBetween, keyOf, labelOf } from "./consents";
import { goals } from "./goals";
import { PasswordField } from "./password-field";
import { fieldError, sortViolations, textsOf } from "./problems";
import { RefusalAlert } from "./refusal-alert";
import { useSignUpRules } from "./rules-source";
import { type FieldName, fieldNames, resolverFor, type SignUpRules, type SignUpValues } from "./schema";

/** Why the form was not accepted. */
interface Refusal {
  failure: Failure;
  others: string[];
  email: string;
  /** The time at which the form may be sent again, in milliseconds since the epoch. */
  end: number | undefined;
  /** The first field with an error; undefined for an error of the form itself. */
  focus: FieldName | undefined;
}

const EMPTY: SignUpValues = { email: "", password: "", goals: [], consents: [] };

/** The form of a new account. `onMade` gets the content of the account, which can be that of an earlier attempt. */
export function SignUpForm({ onMade }: { onMade: (account: SignUpContent, isEarlier: boolean) => void }) {
  const { accounts } = useSession().entry;
  const { rules, hasFailed, load } = useSignUpRules(accounts);
  const attempts = useMemo(() => new SignUpAttempts(accounts), [accounts]);
  const resolver = useMemo(() => resolverFor(rules), [rules]);
  const form = useForm({
    // Not when a field is left: a message that appears then moves what is being clicked away from under the pointer.
    mode: "onSubmit",
    criteriaMode: "all",
    defaultValues: EMPTY,
    resolver,
    // The focus follows the order of the page, which React Hook Form does not know.
    shouldFocusError: false,
  });
  const { formState, handleSubmit, register, setError, setValue, watch } = form;
  const { email, password, goals: chosen, consents: given } = watch();
  const [isBusy, setIsBusy] = useState(false);
  const isSending = useRef(false);
  const [refusal, setRefusal] = useState<Refusal>();
  const wait = useCountdown(refusal?.end);
  const element = useRef<HTMLFormElement>(null);
  const alert = useRef<HTMLDivElement>(null);

  const choose = useCallback(
    (name: "goals" | "consents", values: SignUpValues[typeof name]) =>
      setValue(name, values, { shouldDirty: true, shouldValidate: formState.isSubmitted }),
    [setValue, formState.isSubmitted],
  );
  const keep = useCallback((keys: string[]) => setValue("consents", keys), [setValue]);
  const changes = useConsentChanges(rules, given, keep);
  useEffect(() => {
    register("goals");
    register("consents");
  }, [register]);

  const focus = useCallback((name: FieldName | undefined) => {
    const inputs = `[name="${name}"]`;
    const find = (selector: string) => element.current?.querySelector<HTMLElement>(selector);
    // Of a group the first choice that is missing, or else the first.
    (find(`${inputs}:required:not(:checked)`) ?? find(inputs) ?? alert.current)?.focus();
  }, []);

  useEffect(() => {
    if (refusal) {
      focus(refusal.focus);
    }
  }, [refusal, focus]);

  const refuse = async (failure: Failure, sent: SignUpContent) => {
    // The server's rules are others than those that the page checked.
    const isOutdated = failure.violations.some(({ field }) => /^(consents|password)\b/.test(field));
    const current = (isOutdated && (await load())) || rules;
    const { problems, others } = sortViolations(failure.violations, sent.consents, current);
    if (failure.reason === "EMAIL_TAKEN") {
      problems.push({ field: "email", reason: failure.reason, text: "An account with this address exists." });
    }
    const omitted = Number(failure.metadata.violations_omitted ?? 0);
    if (omitted > 0) {
      others.push(`There are ${omitted} more errors, which are shown when these are corrected.`);
    }
    const wrong = fieldNames.filter((name) => problems.some(({ field }) => field === name));
    for (const name of wrong) {
      setError(name, fieldError(problems.filter(({ field }) => field === name)));
    }
    const end = failure.reason === "RATE_LIMITED" ? Date.now() + (failure.retryAfter ?? 1000) : undefined;
    setRefusal({ failure, others, email: sent.email, end, focus: wrong[0] });
  };

  const send = async (values: SignUpValues) => {
    // One request at a time: the second click of a double click is none.
    if (isSending.current || wait > 0) {
      return;
    }
    isSending.current = true;
    setIsBusy(true);
    setRefusal(undefined);
    const content = contentOf(values, rules);
    try {
      const made = await attempts.send(content);
      onMade(made, JSON.stringify(made) !== JSON.stringify(content));
    } catch (error) {
      await refuse(failureOf(error), content);
    } finally {
      isSending.current = false;
      setIsBusy(false);
    }
  };

  const correct = (errors: object) => {
    focus(fieldNames.find((name) => name in errors));
    if (wait === 0) {
      setRefusal(undefined);
    }
  };

  const errors = (name: FieldName) => textsOf(formState.errors[name]);
  const isShown = refusal && !(refusal.failure.reason === "EMAIL_TAKEN" && refusal.email !== email);
  return (
    <form ref={element} noValidate onSubmit={handleSubmit(send, correct)}>
      <Field
        {...register("email")}
        label="E-mail address"
        type="text"
        inputMode="email"
        autoComplete="email"
        autoCapitalize="none"
        autoCorrect="off"
        spellCheck={false}
        required
        errors={errors("email")}
      />
      <PasswordField
        {...register("password")}
        accounts={accounts}
        policy={rules?.policy}
        typed={password}
        email={email}
        required
        errors={errors("password")}
      />
      <ChoiceGroup
        name="goals"
        value={chosen}
        onChange={(values) => choose("goals", values)}
        legend="Your goals"
        hint="Choose at least one."
        choices={goals}
        errors={errors("goals")}
      />
      {hasFailed && (
        <Alert kind="warning">
          <p>The rules and the documents could not be loaded. What you typed stays here.</p>
          <button type="button" className="secondary" onClick={load}>
            Load again
          </button>
        </Alert>
      )}
      {changes.length > 0 && (
        <Alert kind="warning">
          <p>The documents changed in between:</p>
          <ul>
            {changes.map((change) => (
              <li key={change}>{change}</li>
            ))}
          </ul>
        </Alert>
      )}
      <ChoiceGroup
        name="consents"
        value={given}
        onChange={(values) => choose("consents", values)}
        legend="Documents"
        hint={rules ? undefined : "They are not loaded yet."}
        choices={(rules?.consents ?? []).map((consent) => ({
          value: keyOf(consent),
          label: labelOf(consent),
          isRequired: consent.isRequired,
        }))}
        errors={errors("consents")}
      />
      {isShown && (
        <RefusalAlert
          failure={refusal.failure}
          others={refusal.others}
          wait={wait}
          {...(!refusal.focus && { ref: alert })}
        />
      )}
      <button type="submit" aria-disabled={isBusy || wait > 0}>
        Create account
      </button>
      <p role="status">{isBusy && "Your account is being made…"}</p>
    </form>
  );
}

/** Keeps the consents that the server still asks for when its documents change, and returns what changed. */
function useConsentChanges(rules: SignUpRules | undefined, given: string[], keep: (given: string[]) => void): string[] {
  const [changes, setChanges] = useState<string[]>([]);
  const shown = useRef<SignUpRules>(undefined);
  useEffect(() => {
    if (!rules || rules === shown.current) {
      return;
    }
    const found = shown.current ? changesBetween(shown.current.consents, rules.consents) : [];
    shown.current = rules;
    if (found.length > 0) {
      setChanges(found);
      const asked = rules.consents.map(keyOf);
      keep(given.filter((key) => asked.includes(key)));
    }
  }, [rules, given, keep]);
  return changes;
}

/** Goals and consents are sent in the order of the page, and not of the clicks: the same form is the same content. */
function contentOf(values: SignUpValues, rules: SignUpRules | undefined): SignUpContent {
  return {
    email: values.email,
    password: values.password,
    goals: goals.map(({ value }) => value).filter((goal) => values.goals.includes(goal)),
    consents: (rules?.consents ?? [])
      .filter((consent) => values.consents.includes(keyOf(consent)))
      .map(({ document, documentVersion }) => ({ document, documentVersion })),
  };
}
