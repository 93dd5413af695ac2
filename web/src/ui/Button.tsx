import type { ComponentProps } from 'react';
import './button.css';

interface ButtonProps extends ComponentProps<'button'> {
  look?: 'primary' | 'plain' | 'quiet';
  busy?: boolean;
}

export function Button({ look = 'plain', busy = false, className = '', children, ...rest }: ButtonProps) {
  return (
    <button type="button" className={`button button-${look} ${className}`} aria-busy={busy} disabled={busy} {...rest}>
      {busy && <span className="spinner" aria-hidden />}
      {children}
    </button>
  );
}

interface IconButtonProps extends ComponentProps<'button'> {
  label: string;
  look?: 'raised' | 'off' | 'active' | 'danger' | 'quiet';
}

/** A round button with an icon; its label is both its name and its tooltip. */
export function IconButton({ label, look = 'raised', className = '', ...rest }: IconButtonProps) {
  return (
    <button type="button" className={`icon-button icon-button-${look} ${className}`} aria-label={label} title={label} {...rest} />
  );
}
