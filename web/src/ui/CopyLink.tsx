import { Check, Link2 } from 'lucide-react';
import { useState } from 'react';
import { t } from '../i18n';
import { Button, IconButton } from './Button';

const CONFIRM_FOR_MS = 2000;

/** Copies this meeting's address, which is its invite link. */
export function CopyLink({ compact = false }: { compact?: boolean }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(window.location.href);
    } catch {
      // No clipboard on plain http: let people copy by hand.
      window.prompt(t('control.copyFailed'), window.location.href);
      return;
    }
    setCopied(true);
    setTimeout(() => setCopied(false), CONFIRM_FOR_MS);
  };
  const label = t(copied ? 'control.copied' : 'control.copy');
  const icon = copied ? <Check size={18} /> : <Link2 size={18} />;
  return (
    <>
      {compact ? (
        <IconButton look="quiet" label={label} onClick={copy} data-testid="copy-link">
          {icon}
        </IconButton>
      ) : (
        <Button onClick={copy} data-testid="copy-link">
          {icon}
          {label}
        </Button>
      )}
      <span className="sr-only" role="status">
        {copied && t('control.copied')}
      </span>
    </>
  );
}
