import { type FormEvent, useId, useRef, useState } from "react";
import { accountClients } from "../api/account-clients";
import { failureOf, isTransient } from "../api/failure";
import { useRequestIds } from "../api/request-id";
import { useSession } from "../app/session-context";
import type { Account, Goal } from "../gen/haven/identity/v1/account_pb";
import { goals } from "../sign-up/goals";
import { FieldErrors } from "../ui/field";
import { useAction, useFailureFocus } from "./action";
import { Done } from "./done";
import { FailureAlert } from "./failure-alert";
import { errorsOf } from "./sentences";
import { SubmitButton } from "./submit-button";

const SENTENCES = {
  VERSION_CONFLICT:
    "The account was changed elsewhere, for example in another tab. The goals are shown as they are now: your choice was not saved.",
};

/** The choice of goals. A change states the version that it is based on, so that it overwrites no other. */
export function GoalsForm({ account, onChange }: { account: Account; onChange: (changed: Account) => void }) {
  const { accounts } = accountClients(useSession());
  const requestIds = useRequestIds();
  const action = useAction();
  const form = useFailureFocus<HTMLFormElement>(action.failure);
  const [chosen, setChosen] = useState<Goal[]>(account.goals);
  const [isSaved, setSaved] = useState(false);
  const [isEmpty, setEmpty] = useState(false);
  /** The choices that were sent for the version that is shown, without an answer. One can have been saved. */
  const lost = useRef<Goal[][]>([]);
  const errorsId = useId();
  const errors = [...(isEmpty ? ["At least one goal is required."] : []), ...errorsOf(action.failure, "account.goals")];

  const show = (current: Account | undefined) => {
    if (current) {
      lost.current = [];
      onChange(current);
      setChosen(current.goals);
    }
  };
  const save = (event: FormEvent) => {
    event.preventDefault();
    setSaved(false);
    setEmpty(chosen.length === 0);
    if (chosen.length === 0) {
      form.current?.querySelector("input")?.focus();
      return;
    }
    const update = async (version: bigint) => {
      try {
        const answer = await accounts.updateAccount({
          account: { goals: chosen },
          updateMask: { paths: ["goals"] },
          expectedVersion: version,
          requestId: requestIds.for({ goals: chosen, version: String(version) }),
        });
        show(answer.account);
        setSaved(true);
      } catch (error) {
        if (isTransient(failureOf(error))) {
          lost.current.push(chosen);
        }
        throw error;
      }
    };
    void action.run(async () => {
      try {
        await update(account.version);
      } catch (error) {
        if (failureOf(error).reason !== "VERSION_CONFLICT") {
          throw error;
        }
        const current = (await accounts.getAccount({})).account;
        const isOwn =
          current?.version === account.version + 1n && lost.current.some((goals) => isSame(goals, current.goals));
        if (!isOwn) {
          show(current);
          throw error;
        }
        // What changed the account is an earlier choice of this form, and the new choice is to replace it.
        lost.current = [];
        onChange(current);
        await update(current.version);
      }
    });
  };
  return (
    <form ref={form} onSubmit={save} noValidate>
      <FailureAlert {...action} sentences={SENTENCES} fields={["account.goals"]} />
      {isSaved && <Done>The goals are saved.</Done>}
      <fieldset aria-describedby={errors.length > 0 ? errorsId : undefined}>
        <legend>What you work on</legend>
        {goals.map(({ value, label }) => (
          <label key={value} className="choice">
            <input
              type="checkbox"
              checked={chosen.includes(value)}
              aria-invalid={errors.length > 0}
              onChange={({ target }) => {
                setSaved(false);
                setChosen((before) => (target.checked ? [...before, value] : before.filter((goal) => goal !== value)));
              }}
            />
            {label}
          </label>
        ))}
        <FieldErrors id={errorsId} errors={errors} />
      </fieldset>
      <SubmitButton action={action} busy="Saving…">
        Save the goals
      </SubmitButton>
    </form>
  );
}

function isSame(one: Goal[], other: Goal[]): boolean {
  return one.length === other.length && one.every((goal) => other.includes(goal));
}
