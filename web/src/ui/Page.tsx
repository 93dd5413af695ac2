import { Moon, Sun } from 'lucide-react';
import type { ReactNode } from 'react';
import { t } from '../i18n';
import { navigate } from '../lib/navigation';
import { toggleTheme, useTheme } from '../lib/theme';
import { IconButton } from './Button';
import { Logo } from './Logo';
import './page.css';

/** The frame of every screen outside a call: brand, theme switch, content. */
export function Page({ children }: { children: ReactNode }) {
  const goHome = (event: React.MouseEvent) => {
    event.preventDefault();
    navigate('/');
  };
  return (
    <div className="page">
      <header className="page-header">
        <a className="brand" href="/" onClick={goHome}>
          <Logo />
          Sala
        </a>
        <ThemeToggle />
      </header>
      <main className="page-main">{children}</main>
    </div>
  );
}

export function ThemeToggle() {
  const dark = useTheme() === 'dark';
  return (
    <IconButton look="quiet" label={t(dark ? 'theme.toLight' : 'theme.toDark')} onClick={toggleTheme}>
      {dark ? <Sun size={20} /> : <Moon size={20} />}
    </IconButton>
  );
}
