import { useState, type FormEvent } from 'react';
import { t } from '../i18n';
import { parsePastedLink } from '../lib/invite-link';
import { navigate } from '../lib/navigation';
import { Button } from '../ui/Button';
import { Field } from '../ui/Field';

export function JoinForm() {
  const [link, setLink] = useState('');
  const [error, setError] = useState<string>();

  const open = (event: FormEvent) => {
    event.preventDefault();
    const url = parsePastedLink(link, window.location.origin);
    if (!url) {
      setError(t('home.badLink', { example: `${window.location.host}/m/brave-otter-42#…` }));
    } else if (url.origin === window.location.origin) {
      navigate(url.pathname + url.hash);
    } else {
      window.location.assign(url);
    }
  };

  return (
    <form className="home-join" onSubmit={open} noValidate>
      <Field
        label={t('home.link')}
        placeholder={t('home.linkPlaceholder')}
        value={link}
        onChange={(event) => {
          setLink(event.target.value);
          setError(undefined);
        }}
        inputMode="url"
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        error={error}
        data-testid="link-input"
      />
      <Button type="submit" data-testid="open-link">
        {t('home.join')}
      </Button>
    </form>
  );
}
