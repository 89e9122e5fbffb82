BEGIN TRANSACTION;
CREATE TABLE doubts (
	run_id VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	sentence VARCHAR NOT NULL, 
	severity VARCHAR NOT NULL, 
	PRIMARY KEY (run_id, position), 
	FOREIGN KEY(run_id) REFERENCES runs (id)
);
INSERT INTO "doubts" VALUES('00000000000000a1',0,'few-samples','Only 2 requests: ask for more.','flag');
INSERT INTO "doubts" VALUES('00000000000000a1',1,'prefix-cache','It was on: switch it off.','note');
CREATE TABLE experiments (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	question VARCHAR NOT NULL, 
	hypothesis VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	started_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	experiment VARCHAR NOT NULL, 
	environment VARCHAR NOT NULL, 
	mlflow_run_id VARCHAR, 
	mlflow_pending BOOLEAN NOT NULL, 
	mlflow_error VARCHAR, 
	PRIMARY KEY (id)
);
INSERT INTO "experiments" VALUES('00000000000000e1','first','Why?','','done','2026-03-01 09:00:00.000000','2026-03-01 09:01:00.000000','{"engines":[{"dtype":"auto","env":{},"flags":[],"gpu_memory_utilization":null,"kv_cache_memory_bytes":null,"max_model_len":null,"model":"tiny","prefix_caching":false,"python":null,"quantisation":null,"revision":null,"start_timeout_s":900.0,"tensor_parallel":1,"trust_remote_code":false}],"grid":{"batch":[1],"output_tokens":[64],"prompt_tokens":[128],"rate":[]},"hypothesis":"","load":{"burstiness":1.0,"max_error_rate":0.5,"processes":null,"repeats":1,"requests":24,"seed":0,"timeout_s":600.0,"warmup":2},"name":"first","predict":{},"question":"Why?","slo":null,"source":"","usd_per_hour":null}','{"cpus":2,"gpu":null}',NULL,1,NULL);
CREATE TABLE gpu_readings (
	run_id VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	at_s FLOAT NOT NULL, 
	device INTEGER NOT NULL, 
	used_bytes BIGINT, 
	total_bytes BIGINT, 
	process_bytes BIGINT, 
	other_processes INTEGER, 
	utilisation_fraction FLOAT, 
	power_w FLOAT, 
	energy_j FLOAT, 
	sm_clock_hz FLOAT, 
	memory_clock_hz FLOAT, 
	temperature_c FLOAT, 
	throttle_reasons BIGINT, 
	PRIMARY KEY (run_id, position), 
	FOREIGN KEY(run_id) REFERENCES runs (id)
);
INSERT INTO "gpu_readings" VALUES('00000000000000a1',0,0.0,0,68719476736,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gpu_readings" VALUES('00000000000000a1',1,0.1,0,68719476736,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE journal_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT journal_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "journal_version" VALUES('0001');
CREATE TABLE metrics (
	run_id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	value FLOAT, 
	low FLOAT, 
	high FLOAT, 
	count INTEGER, 
	PRIMARY KEY (run_id, name), 
	FOREIGN KEY(run_id) REFERENCES runs (id)
);
INSERT INTO "metrics" VALUES('00000000000000a1','ttft_s.p50',0.1,0.09,0.11,2);
INSERT INTO "metrics" VALUES('00000000000000a1','vram_peak_bytes',NULL,NULL,NULL,NULL);
CREATE TABLE process_readings (
	run_id VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	at_s FLOAT NOT NULL, 
	rss_bytes BIGINT NOT NULL, 
	processes INTEGER NOT NULL, 
	cpu_s FLOAT, 
	PRIMARY KEY (run_id, position), 
	FOREIGN KEY(run_id) REFERENCES runs (id)
);
INSERT INTO "process_readings" VALUES('00000000000000a1',0,0.0,34359738368,3,NULL);
INSERT INTO "process_readings" VALUES('00000000000000a1',1,1.0,34359738368,3,NULL);
CREATE TABLE requests (
	run_id VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	"index" INTEGER NOT NULL, 
	warmup BOOLEAN NOT NULL, 
	scheduled_s FLOAT NOT NULL, 
	start_s FLOAT NOT NULL, 
	end_s FLOAT NOT NULL, 
	outcome VARCHAR NOT NULL, 
	prompt_tokens_asked INTEGER NOT NULL, 
	output_tokens_asked INTEGER NOT NULL, 
	chunk_s BLOB NOT NULL, 
	chunk_tokens BLOB, 
	prompt_tokens INTEGER, 
	output_tokens INTEGER, 
	cached_tokens INTEGER, 
	output_chars INTEGER, 
	finish_reason VARCHAR, 
	status INTEGER, 
	error VARCHAR, 
	server_queue_s FLOAT, 
	server_prefill_s FLOAT, 
	server_decode_s FLOAT, 
	PRIMARY KEY (run_id, position), 
	FOREIGN KEY(run_id) REFERENCES runs (id)
);
INSERT INTO "requests" VALUES('00000000000000a1',0,0,1,0.1,0.1,3.33333333333333314829e-01,'ok',64,4,X'9A9999999999C93F000000000000D03F555555555555D53F',X'010000000100000002000000',64,4,NULL,NULL,'length',200,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('00000000000000a1',1,1,0,0.1,0.1,3.33333333333333314829e-01,'ok',64,4,X'9A9999999999C93F000000000000D03F555555555555D53F',X'010000000100000002000000',64,4,NULL,NULL,'length',200,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('00000000000000a1',2,2,1,0.1,0.1,3.33333333333333314829e-01,'error',64,4,X'',NULL,64,4,NULL,NULL,'length',200,'cut ✂ off',NULL,NULL,NULL);
CREATE TABLE runs (
	id VARCHAR NOT NULL, 
	experiment_id VARCHAR NOT NULL, 
	experiment VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	quantisation VARCHAR, 
	dtype VARCHAR, 
	tensor_parallel INTEGER, 
	batch INTEGER, 
	rate FLOAT, 
	prompt_tokens INTEGER NOT NULL, 
	output_tokens INTEGER NOT NULL, 
	requests INTEGER NOT NULL, 
	repeat INTEGER NOT NULL, 
	seed BIGINT NOT NULL, 
	identity VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	started_at DATETIME NOT NULL, 
	duration_s FLOAT NOT NULL, 
	error VARCHAR, 
	cell VARCHAR NOT NULL, 
	facts VARCHAR NOT NULL, 
	environment VARCHAR NOT NULL, 
	client VARCHAR, 
	absent VARCHAR, 
	mlflow_run_id VARCHAR, 
	mlflow_pending BOOLEAN NOT NULL, 
	mlflow_error VARCHAR, 
	PRIMARY KEY (id), 
	FOREIGN KEY(experiment_id) REFERENCES experiments (id)
);
INSERT INTO "runs" VALUES('00000000000000a1','00000000000000e1','first','tiny','awq','float16',1,8,NULL,64,4,3,1,1099511627776,'ab12','flagged','2026-03-01 09:01:00.000000',0.25,NULL,'{"batch":8,"engine":{"dtype":"float16","env":{"A":"b"},"flags":["--enforce-eager"],"gpu_memory_utilization":null,"kv_cache_memory_bytes":null,"max_model_len":null,"model":"tiny","prefix_caching":false,"python":null,"quantisation":null,"revision":null,"start_timeout_s":900.0,"tensor_parallel":1,"trust_remote_code":false},"experiment":"first","identity":"ab12","load":{"burstiness":1.0,"max_error_rate":0.5,"processes":null,"repeats":1,"requests":3,"seed":0,"timeout_s":600.0,"warmup":2},"model":"tiny","output_tokens":4,"prompt_tokens":64,"quantisation":"awq","rate":null,"repeat":1,"seed":1099511627776,"slo":null}','{"argv":["python","-m","vllm"],"block_size":null,"graph_bytes":null,"kv_pool_bytes":null,"kv_pool_tokens":null,"log_path":null,"prefix_caching":null,"start_s":null,"version":"0.32.0","weights_bytes":8589934592}','{"cpus":2,"driver":"570.1","gpu":null,"load":0.5}','{"cpu_fraction":0.25,"event_loop":"asyncio","loop_delay_max_s":null,"loop_delay_p99_s":null,"processes":1,"send_delay_p99_s":null}','["No power reading."]',NULL,1,NULL);
INSERT INTO "runs" VALUES('00000000000000a2','00000000000000e1','first','tiny','awq','float16',1,8,NULL,64,4,3,1,1099511627776,'ab12','failed','2026-03-01 09:02:00.000000',0.25,'the engine died','{"batch":8,"engine":{"dtype":"float16","env":{"A":"b"},"flags":["--enforce-eager"],"gpu_memory_utilization":null,"kv_cache_memory_bytes":null,"max_model_len":null,"model":"tiny","prefix_caching":false,"python":null,"quantisation":null,"revision":null,"start_timeout_s":900.0,"tensor_parallel":1,"trust_remote_code":false},"experiment":"first","identity":"ab12","load":{"burstiness":1.0,"max_error_rate":0.5,"processes":null,"repeats":1,"requests":3,"seed":0,"timeout_s":600.0,"warmup":2},"model":"tiny","output_tokens":4,"prompt_tokens":64,"quantisation":"awq","rate":null,"repeat":1,"seed":1099511627776,"slo":null}','{"argv":["python","-m","vllm"],"block_size":null,"graph_bytes":null,"kv_pool_bytes":null,"kv_pool_tokens":null,"log_path":null,"prefix_caching":null,"start_s":null,"version":"0.32.0","weights_bytes":8589934592}','{"cpus":2,"driver":"570.1","gpu":null,"load":0.5}',NULL,NULL,NULL,1,NULL);
CREATE TABLE server_readings (
	run_id VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	at_s FLOAT NOT NULL, 
	running FLOAT, 
	waiting FLOAT, 
	kv_cache_fraction FLOAT, 
	preemptions_total FLOAT, 
	prefix_queries_total FLOAT, 
	prefix_hits_total FLOAT, 
	prompt_tokens_total FLOAT, 
	output_tokens_total FLOAT, 
	PRIMARY KEY (run_id, position), 
	FOREIGN KEY(run_id) REFERENCES runs (id)
);
INSERT INTO "server_readings" VALUES('00000000000000a1',0,0.0,NULL,NULL,0.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "server_readings" VALUES('00000000000000a1',1,0.1,NULL,NULL,0.1,NULL,NULL,NULL,NULL,NULL);
CREATE INDEX experiments_by_time ON experiments (started_at, id);
CREATE INDEX ix_experiments_mlflow_pending ON experiments (mlflow_pending);
CREATE INDEX ix_runs_experiment_id ON runs (experiment_id);
CREATE INDEX ix_runs_identity ON runs (identity);
CREATE INDEX ix_runs_mlflow_pending ON runs (mlflow_pending);
CREATE INDEX runs_by_time ON runs (started_at, id);
COMMIT;
