import { useId, type ComponentProps } from 'react';
import './field.css';

interface FieldProps extends ComponentProps<'input'> {
  label: string;
  error?: string;
}

/** A labelled text field; its error is announced and tied to it. */
export function Field({ label, error, ...rest }: FieldProps) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input id={id} aria-invalid={error ? true : undefined} aria-describedby={error ? `${id}-error` : undefined} {...rest} />
      {error && (
        <p id={`${id}-error`} className="field-error" role="alert">
          {error}
        </p>
      )}
    </div>
  );
}
