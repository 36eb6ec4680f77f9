"""From the hub, or a colleague's folder, to verified files here."""
