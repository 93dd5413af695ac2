import { CircleX, CloudOff, DoorClosed, Link2Off, MonitorSmartphone, PartyPopper, UserX, WifiOff, type LucideIcon } from 'lucide-react';
import { Call } from '../call/Call';
import { t } from '../i18n';
import type { Invite } from '../lib/invite-link';
import { navigate } from '../lib/navigation';
import { PreJoin } from '../prejoin/PreJoin';
import { Button } from '../ui/Button';
import { Notice, Waiting } from '../ui/Notice';
import type { EndReason } from './room';
import { useMeeting, type Problem } from './useMeeting';

export default function MeetingPage({ invite }: { invite: Invite }) {
  const { phase, join, leave, rejoin } = useMeeting(invite);
  switch (phase.step) {
    case 'prejoin':
      return <PreJoin room={invite.room} onJoin={join} />;
    case 'connecting':
      return <Waiting text={t('page.returning')} />;
    case 'call':
      return <Call room={phase.room} starting={phase.starting} name={invite.room} onLeave={leave} />;
    case 'ended':
      return <Ended reason={phase.reason} onRejoin={rejoin} />;
    case 'blocked':
      return <Blocked problem={phase.problem} onRetry={phase.retry} />;
  }
}

const END_ICONS: Record<EndReason, LucideIcon> = {
  left: DoorClosed,
  removed: UserX,
  closed: PartyPopper,
  duplicate: MonitorSmartphone,
  lost: WifiOff,
};

function Ended({ reason, onRejoin }: { reason: EndReason; onRejoin: () => void }) {
  return (
    <Notice
      icon={END_ICONS[reason]}
      tone={reason === 'lost' || reason === 'removed' ? 'problem' : 'calm'}
      title={t(`end.${reason}.title`)}
      text={t(`end.${reason}.text`)}
      testId={`ended-${reason}`}
    >
      <Button look="primary" onClick={onRejoin} data-testid="rejoin-button">
        {t(reason === 'duplicate' ? 'page.useHere' : 'page.rejoin')}
      </Button>
      <HomeButton />
    </Notice>
  );
}

const PROBLEM_ICONS: Record<Problem, LucideIcon> = { invalid: Link2Off, unreachable: CloudOff, failed: CircleX };
const PROBLEM_TEST_IDS: Record<Problem, string> = { invalid: 'invalid-invite', unreachable: 'server-unreachable', failed: 'connect-failed' };

function Blocked({ problem, onRetry }: { problem: Problem; onRetry: () => void }) {
  return (
    <Notice
      icon={PROBLEM_ICONS[problem]}
      tone="problem"
      title={t(`page.${problem}.title`)}
      text={t(`page.${problem}.text`)}
      testId={PROBLEM_TEST_IDS[problem]}
    >
      {problem !== 'invalid' && (
        <Button look="primary" onClick={onRetry} data-testid="retry-button">
          {t('page.retry')}
        </Button>
      )}
      <HomeButton />
    </Notice>
  );
}

function HomeButton() {
  return <Button onClick={() => navigate('/')}>{t('page.home')}</Button>;
}
