import { followMessages } from '../../../docs/examples/migrating/after.js';
import { supabase } from './supabase.js';

followMessages(supabase, 'd1', (messages) => {
  window.shown = messages.map(({ body }) => body);
});
