use super::*;

#[test]
fn what_a_newer_agent_says_is_read_and_proves_nothing() {
    let state: AgentState = serde_json::from_str("\"Someday\"").unwrap();
    let reason: ExitReason = serde_json::from_str("\"Somehow\"").unwrap();
    assert_eq!((state, reason), (AgentState::Unknown, ExitReason::Unknown));
    for state in [AgentState::Held, AgentState::Standby, AgentState::Backoff] {
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<AgentState>(&text).unwrap(), state);
    }
}
