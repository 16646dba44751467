import { type ComponentProps, useId } from "react";

interface FieldProps extends ComponentProps<"input"> {
  label: string;
  /** What is expected. */
  hint?: string | undefined;
  /** Why the value is refused, one sentence for each rule. */
  errors?: string[] | undefined;
}

/** A labelled input. Its hint and errors are tied to it, so that a screen reader says them with it. */
export function Field({ label, hint, errors = [], "aria-describedby": describedBy, ...input }: FieldProps) {
  const id = useId();
  const described = [hint && `${id}-hint`, errors.length > 0 && `${id}-errors`, describedBy].filter(Boolean).join(" ");
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {hint && (
        <p id={`${id}-hint`} className="hint">
          {hint}
        </p>
      )}
      <input {...input} id={id} aria-invalid={errors.length > 0} aria-describedby={described || undefined} />
      <FieldErrors id={`${id}-errors`} errors={errors} />
    </div>
  );
}

/** The errors of a field or of a group of fields, which names `id` in its `aria-describedby`. */
export function FieldErrors({ id, errors }: { id: string; errors: string[] }) {
  if (errors.length === 0) {
    return null;
  }
  return (
    <ul id={id} className="errors">
      {errors.map((error) => (
        <li key={error}>{error}</li>
      ))}
    </ul>
  );
}
