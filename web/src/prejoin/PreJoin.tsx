import { useState, type FormEvent } from 'react';
import { t } from '../i18n';
import { loadPreferences, savePreferences } from '../lib/storage';
import { Button } from '../ui/Button';
import { CopyLink } from '../ui/CopyLink';
import { Field } from '../ui/Field';
import { Page } from '../ui/Page';
import { CameraPreview } from './CameraPreview';
import { DevicePickers } from './DevicePickers';
import { usePreview, type Capture } from './preview';
import './prejoin.css';

export interface JoinChoices {
  name: string;
  microphone: boolean;
  camera: boolean;
}

interface PreJoinProps {
  room: string;
  /** Resolves to false if the server refused the name; otherwise this screen is replaced. */
  onJoin: (choices: JoinChoices, capture: Capture) => Promise<boolean>;
}

const LONGEST_NAME = 64;
/** On phones, focus would open the on-screen keyboard over the preview. */
const HAS_KEYBOARD = window.matchMedia('(hover: hover)').matches;

export function PreJoin({ room, onJoin }: PreJoinProps) {
  const [preview, devices] = usePreview();
  const [name, setName] = useState(loadPreferences().name);
  const [problem, setProblem] = useState<'nameMissing' | 'nameRefused'>();
  const [joining, setJoining] = useState(false);

  const join = async (event: FormEvent) => {
    event.preventDefault();
    if (!name.trim()) return setProblem('nameMissing');
    savePreferences({ name: name.trim() });
    setJoining(true);
    const capture = preview.release();
    const choices = { name: name.trim(), microphone: !!capture.audio, camera: !!capture.video };
    if (await onJoin(choices, capture)) return;
    setJoining(false);
    setProblem('nameRefused');
    void preview.start();
  };

  return (
    <Page>
      <form className="prejoin" onSubmit={join} noValidate>
        <CameraPreview preview={preview} devices={devices} name={name} />
        <section className="prejoin-side">
          <header>
            <h1>{t('prejoin.title')}</h1>
            <p className="prejoin-room muted">
              <span>{room}</span>
              <CopyLink compact />
            </p>
          </header>
          <Field
            label={t('prejoin.name')}
            placeholder={t('prejoin.namePlaceholder')}
            value={name}
            onChange={(event) => {
              setName(event.target.value);
              setProblem(undefined);
            }}
            maxLength={LONGEST_NAME}
            autoComplete="name"
            autoFocus={!name && HAS_KEYBOARD}
            error={problem && t(`prejoin.${problem}`)}
            data-testid="name-input"
          />
          <DevicePickers preview={preview} devices={devices} />
          <Button look="primary" type="submit" className="prejoin-join" busy={joining} data-testid="join-button">
            {t(joining ? 'prejoin.joining' : 'prejoin.join')}
          </Button>
        </section>
      </form>
    </Page>
  );
}
