import { useAudioPlayback } from '@livekit/components-react';
import { Volume2 } from 'lucide-react';
import { t } from '../i18n';
import { Button } from '../ui/Button';

/** Browsers may refuse to play sound before the first click on a page, as after a reload. */
export function EnableAudio() {
  const { canPlayAudio, startAudio } = useAudioPlayback();
  if (canPlayAudio) return null;
  return (
    <div className="enable-audio">
      <p>{t('stage.enableAudioHint')}</p>
      <Button look="primary" onClick={() => void startAudio()} data-testid="enable-audio">
        <Volume2 size={20} aria-hidden />
        {t('stage.enableAudio')}
      </Button>
    </div>
  );
}
