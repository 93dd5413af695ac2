import { useConnectionQualityIndicator } from '@livekit/components-react';
import { ConnectionQuality, type Participant } from 'livekit-client';
import { t } from '../i18n';

const BARS: Record<ConnectionQuality, number> = {
  [ConnectionQuality.Excellent]: 3,
  [ConnectionQuality.Good]: 2,
  [ConnectionQuality.Poor]: 1,
  [ConnectionQuality.Lost]: 0,
  [ConnectionQuality.Unknown]: 0,
};

/** Three bars, as on a phone. Nothing is drawn until the server has measured. */
export function QualityIcon({ participant }: { participant: Participant }) {
  const { quality } = useConnectionQualityIndicator({ participant });
  if (quality === ConnectionQuality.Unknown) return null;
  return (
    <svg className="quality" data-quality={quality} viewBox="0 0 14 12" width="14" height="12" role="img" aria-label={t(`stage.quality.${quality}`)}>
      {[1, 2, 3].map((bar) => (
        <rect key={bar} x={(bar - 1) * 5} y={12 - bar * 4} width="3.5" height={bar * 4} rx="1" opacity={bar <= BARS[quality] ? 1 : 0.3} />
      ))}
    </svg>
  );
}
