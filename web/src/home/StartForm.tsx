import { Video } from 'lucide-react';
import { useState, type FormEvent } from 'react';
import { t } from '../i18n';
import { ApiError, createMeeting } from '../lib/api';
import { navigate } from '../lib/navigation';
import { loadPreferences, savePreferences } from '../lib/storage';
import { Button } from '../ui/Button';
import { Field } from '../ui/Field';

type State = { step: 'closed' } | { step: 'open'; error?: string } | { step: 'creating' };

/** One button that unfolds into the sign-in needed to create a meeting. */
export function StartForm() {
  const [state, setState] = useState<State>({ step: 'closed' });
  const [user, setUser] = useState(loadPreferences().adminUser);
  const [password, setPassword] = useState('');

  const create = async (event: FormEvent) => {
    event.preventDefault();
    setState({ step: 'creating' });
    try {
      const meeting = await createMeeting(user, password);
      savePreferences({ adminUser: user });
      navigate(meeting.path);
    } catch (error) {
      setState({ step: 'open', error: explain(error) });
    }
  };

  if (state.step === 'closed') {
    return (
      <Button look="primary" className="home-start" onClick={() => setState({ step: 'open' })} data-testid="start-meeting">
        <Video size={20} aria-hidden />
        {t('home.start')}
      </Button>
    );
  }
  return (
    <form className="home-form" onSubmit={create}>
      <p className="muted home-hint">{t('home.startHint')}</p>
      <Field
        label={t('home.user')}
        value={user}
        onChange={(event) => setUser(event.target.value)}
        autoComplete="username"
        autoCapitalize="none"
        autoFocus={!user}
        required
        data-testid="admin-user"
      />
      <Field
        label={t('home.password')}
        type="password"
        value={password}
        onChange={(event) => setPassword(event.target.value)}
        autoComplete="current-password"
        autoFocus={!!user}
        required
        error={state.step === 'open' ? state.error : undefined}
        data-testid="admin-password"
      />
      <div className="home-form-actions">
        <Button look="quiet" onClick={() => setState({ step: 'closed' })}>
          {t('home.cancel')}
        </Button>
        <Button look="primary" type="submit" busy={state.step === 'creating'} data-testid="create-meeting">
          {t(state.step === 'creating' ? 'home.creating' : 'home.create')}
        </Button>
      </div>
    </form>
  );
}

function explain(error: unknown): string {
  if (!(error instanceof ApiError)) return t('home.unreachable');
  switch (error.problem) {
    case 'unauthorized':
      return t('home.badLogin');
    case 'unreachable':
      return t('home.unreachable');
    default:
      return t('home.failed', { message: error.message });
  }
}
