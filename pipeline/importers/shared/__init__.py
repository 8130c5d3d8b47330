"""What importers of several formats share: chats, votes, threads, spans, and feedback joined with its texts."""
