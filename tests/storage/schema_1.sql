-- The tables of schema version 1, as the n4a_flows of that version made them.
CREATE TABLE runs (run_id VARCHAR PRIMARY KEY, name VARCHAR NOT NULL, config JSON, datasets JSON, status VARCHAR DEFAULT
    'running', created_at TIMESTAMP, completed_at TIMESTAMP, summary JSON, error VARCHAR, project_id VARCHAR);
CREATE TABLE pipelines (pipeline_id VARCHAR PRIMARY KEY, run_id VARCHAR NOT NULL, name VARCHAR NOT NULL, expanded_config JSON,
    generator_choices JSON, dataset_name VARCHAR NOT NULL, dataset_hash VARCHAR, status VARCHAR DEFAULT 'running', created_at
    TIMESTAMP, completed_at TIMESTAMP, best_val DOUBLE, best_test DOUBLE, metric VARCHAR, duration_ms INTEGER, error VARCHAR);
CREATE TABLE chains (chain_id VARCHAR PRIMARY KEY, pipeline_id VARCHAR NOT NULL, steps JSON NOT NULL, model_step_idx INTEGER NOT
    NULL, model_class VARCHAR NOT NULL, preprocessings VARCHAR DEFAULT '', fold_strategy VARCHAR DEFAULT 'per_fold',
    fold_artifacts JSON, shared_artifacts JSON, branch_path JSON, source_index INTEGER, model_name VARCHAR, metric VARCHAR,
    task_type VARCHAR, best_params JSON, dataset_name VARCHAR, cv_val_score DOUBLE, cv_test_score DOUBLE, cv_train_score DOUBLE,
    cv_fold_count INTEGER DEFAULT 0, cv_scores JSON, final_test_score DOUBLE, final_train_score DOUBLE, final_scores JSON,
    created_at TIMESTAMP);
CREATE TABLE predictions (prediction_id VARCHAR PRIMARY KEY, pipeline_id VARCHAR NOT NULL, chain_id VARCHAR, dataset_name VARCHAR
    NOT NULL, model_name VARCHAR NOT NULL, model_class VARCHAR NOT NULL, fold_id VARCHAR NOT NULL, partition VARCHAR NOT NULL,
    val_score DOUBLE, test_score DOUBLE, train_score DOUBLE, metric VARCHAR NOT NULL, task_type VARCHAR NOT NULL, n_samples
    INTEGER, n_features INTEGER, scores JSON, best_params JSON, preprocessings VARCHAR DEFAULT '', branch_id INTEGER, branch_name
    VARCHAR, exclusion_count INTEGER DEFAULT 0, exclusion_rate DOUBLE DEFAULT 0, refit_context VARCHAR DEFAULT NULL, created_at
    TIMESTAMP);
CREATE TABLE prediction_arrays (prediction_id VARCHAR PRIMARY KEY, y_true DOUBLE[], y_pred DOUBLE[], y_proba DOUBLE[],
    sample_indices INTEGER[], weights DOUBLE[]);
CREATE TABLE artifacts (artifact_id VARCHAR PRIMARY KEY, artifact_path VARCHAR NOT NULL, content_hash VARCHAR NOT NULL,
    operator_class VARCHAR, artifact_type VARCHAR, format VARCHAR DEFAULT 'joblib', size_bytes BIGINT, ref_count INTEGER DEFAULT
    1, chain_path_hash VARCHAR, input_data_hash VARCHAR, dataset_hash VARCHAR, created_at TIMESTAMP);
CREATE TABLE logs (log_id VARCHAR PRIMARY KEY, pipeline_id VARCHAR NOT NULL, step_idx INTEGER NOT NULL, operator_class VARCHAR,
    event VARCHAR NOT NULL, duration_ms INTEGER, message VARCHAR, details JSON, level VARCHAR DEFAULT 'info', created_at
    TIMESTAMP);
CREATE TABLE projects (project_id VARCHAR PRIMARY KEY, name VARCHAR NOT NULL, description VARCHAR DEFAULT '', color VARCHAR
    DEFAULT '#14b8a6', created_at TIMESTAMP, updated_at TIMESTAMP);
CREATE TABLE meta (key VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);
CREATE TABLE chain_artifacts (chain_id VARCHAR NOT NULL, artifact_id VARCHAR NOT NULL, count INTEGER NOT NULL, PRIMARY KEY
    (chain_id, artifact_id));
CREATE TABLE chain_context (chain_id VARCHAR PRIMARY KEY, digest VARCHAR NOT NULL, target VARCHAR, task_type VARCHAR, signal
    VARCHAR, axis_unit VARCHAR, axis_values DOUBLE[], x_min DOUBLE, x_max DOUBLE, probe_artifact_id VARCHAR, limits_artifact_id
    VARCHAR);
CREATE TABLE artifact_saves (artifact_id VARCHAR PRIMARY KEY, saved_at TIMESTAMP NOT NULL);
CREATE TABLE prediction_labels (prediction_id VARCHAR PRIMARY KEY, labels JSON, proba_columns INTEGER);
CREATE TABLE run_origins (run_id VARCHAR PRIMARY KEY, flow_run_id VARCHAR, host VARCHAR NOT NULL, pid INTEGER NOT NULL,
    process_started_at TIMESTAMP NOT NULL);
CREATE TABLE aliases (alias VARCHAR NOT NULL, chain_id VARCHAR NOT NULL, set_at TIMESTAMP NOT NULL, ended_at TIMESTAMP, note
    VARCHAR);
CREATE TABLE scored_files (scoring_id VARCHAR PRIMARY KEY, file_digest VARCHAR NOT NULL, chain_digest VARCHAR NOT NULL, chain_id
    VARCHAR NOT NULL, target VARCHAR, replay_version INTEGER NOT NULL, path VARCHAR NOT NULL, status VARCHAR NOT NULL, reason
    VARCHAR, n_samples INTEGER NOT NULL, detail JSON, flow_run_id VARCHAR, scored_at TIMESTAMP NOT NULL);
CREATE TABLE scored_samples (scoring_id VARCHAR NOT NULL, position INTEGER NOT NULL, sample_id VARCHAR NOT NULL, y DOUBLE, label
    VARCHAR, verdict VARCHAR, reasons JSON, detail JSON);
CREATE TABLE reference_values (sample_id VARCHAR NOT NULL, target VARCHAR NOT NULL, value DOUBLE NOT NULL, source VARCHAR,
    added_at TIMESTAMP NOT NULL);
CREATE VIEW v_chain_summary AS SELECT c.chain_id, c.pipeline_id, c.model_class, c.model_step_idx, c.model_name, c.preprocessings,
    c.branch_path, c.source_index, c.metric, c.task_type, c.best_params, c.dataset_name, c.cv_val_score, c.cv_test_score,
    c.cv_train_score, c.cv_fold_count, c.cv_scores, c.final_test_score, c.final_train_score, c.final_scores, p.run_id, p.status AS
    pipeline_status FROM chains c JOIN pipelines p ON p.pipeline_id = c.pipeline_id;
INSERT INTO meta VALUES ('schema_version', '1');
