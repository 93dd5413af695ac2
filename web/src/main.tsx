import '@fontsource-variable/figtree/wght.css';
import { createRoot } from 'react-dom/client';
import { App } from './App';
import { language } from './i18n';
import { applyStoredTheme } from './lib/theme';
import './styles/tokens.css';
import './styles/base.css';

document.documentElement.lang = language;
applyStoredTheme();
createRoot(document.getElementById('root')!).render(<App />);
