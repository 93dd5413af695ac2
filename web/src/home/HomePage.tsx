import { t } from '../i18n';
import { Page } from '../ui/Page';
import { Illustration } from './Illustration';
import { JoinForm } from './JoinForm';
import { StartForm } from './StartForm';
import './home.css';

export function HomePage() {
  return (
    <Page>
      <div className="home">
        <section className="home-intro">
          <h1>{t('app.tagline')}</h1>
          <p className="home-lead muted">{t('app.lead')}</p>
          <div className="home-card">
            <StartForm />
            <p className="home-or">
              <span>{t('home.or')}</span>
            </p>
            <JoinForm />
          </div>
        </section>
        <Illustration />
      </div>
    </Page>
  );
}
