import { createAudioAnalyser, type LocalAudioTrack } from 'livekit-client';
import { useEffect, useRef } from 'react';
import { t } from '../i18n';

const BARS = 5;
const SAMPLE_EVERY_MS = 60;

/** Five bars that follow the voice. Written straight to the element: sixteen renders a second would be waste. */
export function MicMeter({ track }: { track?: LocalAudioTrack }) {
  const meter = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!track) return;
    const { calculateVolume, cleanup } = createAudioAnalyser(track, { cloneTrack: true, smoothingTimeConstant: 0.5 });
    const timer = setInterval(() => {
      const level = Math.min(1, calculateVolume() * 1.6);
      meter.current?.style.setProperty('--level', level.toFixed(2));
      meter.current?.setAttribute('aria-valuenow', String(Math.round(level * 10) * 10));
    }, SAMPLE_EVERY_MS);
    return () => {
      clearInterval(timer);
      void cleanup();
    };
  }, [track]);

  if (!track) return null;
  return (
    <div ref={meter} className="mic-meter" role="meter" aria-label={t('prejoin.micLevel')} aria-valuemin={0} aria-valuemax={100} data-testid="mic-meter">
      {Array.from({ length: BARS }, (_, bar) => (
        <i key={bar} style={{ '--from': bar / BARS }} />
      ))}
    </div>
  );
}
