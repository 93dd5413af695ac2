import { useLocalParticipant } from '@livekit/components-react';
import { ScreenShare } from 'lucide-react';
import { t } from '../i18n';
import { Button } from '../ui/Button';
import { CopyLink } from '../ui/CopyLink';
import { GridView } from './GridView';
import { SpeakerView } from './SpeakerView';
import type { Stage as StageState } from './useStage';
import './stage.css';

export function Stage({ stage }: { stage: StageState }) {
  const alone = stage.tiles.every((tile) => tile.isLocal);
  return (
    <main className="stage" aria-label={t('stage.label')}>
      <MyScreenBanner />
      {stage.mode === 'grid' ? <GridView stage={stage} /> : <SpeakerView stage={stage} />}
      {alone && (
        <aside className="alone" data-testid="alone-hint">
          <h2>{t('stage.alone')}</h2>
          <p className="muted">{t('stage.aloneHint')}</p>
          <CopyLink />
        </aside>
      )}
    </main>
  );
}

function MyScreenBanner() {
  const { localParticipant, isScreenShareEnabled } = useLocalParticipant();
  if (!isScreenShareEnabled) return null;
  return (
    <p className="my-screen" role="status" data-testid="sharing-banner">
      <ScreenShare size={18} aria-hidden />
      {t('stage.sharing')}
      <Button onClick={() => void localParticipant.setScreenShareEnabled(false)}>{t('control.shareStop')}</Button>
    </p>
  );
}
