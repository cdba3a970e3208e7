"""The verbs of `WorkspaceStore`, by what they are about. Each takes the session and hands over to a room of `n4a_flows.storage`."""
