import { Compass, Link2Off, TriangleAlert } from 'lucide-react';
import { Component, lazy, Suspense, useEffect, type ReactNode } from 'react';
import { HomePage } from './home/HomePage';
import { t } from './i18n';
import { inviteOf } from './lib/invite-link';
import { navigate, useAddress } from './lib/navigation';
import { Button } from './ui/Button';
import { Notice, Waiting } from './ui/Notice';

// The media libraries are large: the start page shows without them and fetches them while people read.
const loadMeeting = () => import('./meeting/MeetingPage');
const MeetingPage = lazy(loadMeeting);

export function App() {
  return (
    <CrashScreen>
      <Suspense fallback={<Waiting text={t('page.loading')} />}>
        <Screen />
      </Suspense>
    </CrashScreen>
  );
}

function Screen() {
  const address = useAddress();
  const invite = inviteOf(address);
  const atHome = address.pathname === '/';
  useEffect(() => {
    document.title = invite ? `${invite.room} · Sala` : 'Sala';
    if (atHome) void loadMeeting().catch(() => {}); // only a head start; a real failure shows when it is needed
  }, [invite?.room, atHome]);

  if (atHome) return <HomePage />;
  if (invite) return <MeetingPage key={`${invite.room}#${invite.invite}`} invite={invite} />;
  const isMeeting = address.pathname.startsWith('/m/');
  return (
    <Notice
      icon={isMeeting ? Link2Off : Compass}
      tone="problem"
      title={t(isMeeting ? 'page.invalid.title' : 'page.notFound.title')}
      text={t(isMeeting ? 'page.invalid.text' : 'page.notFound.text')}
      testId={isMeeting ? 'invalid-invite' : 'not-found'}
    >
      <Button look="primary" onClick={() => navigate('/')}>
        {t('page.home')}
      </Button>
    </Notice>
  );
}

/** A fault in rendering must not leave a blank page. */
class CrashScreen extends Component<{ children: ReactNode }, { crashed: boolean }> {
  state = { crashed: false };

  static getDerivedStateFromError() {
    return { crashed: true };
  }

  render() {
    if (!this.state.crashed) return this.props.children;
    return (
      <Notice icon={TriangleAlert} tone="problem" title={t('page.crashed.title')} text={t('page.crashed.text')} testId="crashed">
        <Button look="primary" onClick={() => window.location.reload()}>
          {t('page.reload')}
        </Button>
      </Notice>
    );
  }
}
