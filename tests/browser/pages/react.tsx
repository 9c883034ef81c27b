import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { Chat, connectChat } from '../../../docs/examples/react-chat.js';
import { supabase } from './supabase.js';

const root = createRoot(document.body.appendChild(document.createElement('main')));
root.render(
  <StrictMode>
    <Chat {...connectChat(location.origin, supabase)} />
  </StrictMode>,
);
window.shown = () => root.unmount();
