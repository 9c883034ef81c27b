// As `supabase gen types typescript` writes it for the reference schema (sql/migrations), shortened to what is read here.
export type Database = {
  public: {
    Tables: {
      dialogs: {
        Row: { created_at: string; id: string; owner_id: string; title: string; updated_at: string };
        Insert: { created_at?: string; id?: string; owner_id?: string; title: string; updated_at?: string };
        Update: { created_at?: string; id?: string; owner_id?: string; title?: string; updated_at?: string };
        Relationships: [];
      };
      messages: {
        Row: { body: string; created_at: string; dialog_id: string; id: string; sender_id: string; updated_at: string };
        Insert: { body: string; created_at?: string; dialog_id: string; id?: string; sender_id?: string; updated_at?: string };
        Update: { body?: string; created_at?: string; dialog_id?: string; id?: string; sender_id?: string; updated_at?: string };
        Relationships: [];
      };
    };
    Views: { [_ in never]: never };
    Functions: { [_ in never]: never };
    Enums: { [_ in never]: never };
    CompositeTypes: { [_ in never]: never };
  };
};
