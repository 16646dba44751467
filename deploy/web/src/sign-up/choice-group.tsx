import { useId } from "react";
import { FieldErrors } from "../ui/field";

interface ChoiceGroupProps<Value extends string | number> {
  legend: string;
  hint?: string | undefined;
  name: string;
  choices: { value: Value; label: string; isRequired?: boolean }[];
  value: Value[];
  errors: string[];
  onChange: (value: Value[]) => void;
}

/** A group of checkboxes with one value, the list of those that are checked. */
export function ChoiceGroup<Value extends string | number>(group: ChoiceGroupProps<Value>) {
  const { legend, hint, name, choices, value, errors, onChange } = group;
  const id = useId();
  const described = [hint && `${id}-hint`, errors.length > 0 && `${id}-errors`].filter(Boolean).join(" ") || undefined;
  // An error is about the required choices that are missing; or else about the group as a whole.
  const missing = choices.filter((choice) => choice.isRequired && !value.includes(choice.value));
  const wrong = errors.length === 0 ? [] : missing.length > 0 ? missing : choices;
  return (
    <fieldset aria-describedby={described}>
      <legend>{legend}</legend>
      {hint && (
        <p id={`${id}-hint`} className="hint">
          {hint}
        </p>
      )}
      {choices.map((choice, index) => (
        <label className="choice" key={choice.value}>
          <input
            type="checkbox"
            name={name}
            checked={value.includes(choice.value)}
            required={choice.isRequired}
            aria-invalid={wrong.includes(choice)}
            aria-describedby={index === 0 ? described : undefined}
            onChange={({ target }) =>
              onChange(target.checked ? [...value, choice.value] : value.filter((other) => other !== choice.value))
            }
          />
          {choice.label}
        </label>
      ))}
      <FieldErrors id={`${id}-errors`} errors={errors} />
    </fieldset>
  );
}
