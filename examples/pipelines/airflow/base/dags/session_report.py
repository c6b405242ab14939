"""Sessions of the day before: features on the large nodes, then a light report."""

from datetime import datetime, timedelta

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from kubernetes.client import models as k8s

# The version comes from the deployment, not from this file: the Airflow variable
# is AIRFLOW_VAR_SESSION_REPORT_IMAGE, and the operator renders it for each run.
IMAGE = "{{ var.value.session_report_image }}"

LIGHT = k8s.V1ResourceRequirements(
    requests={"cpu": "100m", "memory": "256Mi"},
    limits={"memory": "512Mi"},
)
HEAVY = k8s.V1ResourceRequirements(
    requests={"cpu": "4", "memory": "12Gi"},
    limits={"memory": "12Gi"},
)

COMMON = {
    "image": IMAGE,
    "service_account_name": "airflow-task",
    "env_vars": {"LAKE_BUCKET": "{{ var.value.lake_bucket }}"},
    "security_context": k8s.V1PodSecurityContext(
        run_as_non_root=True,
        run_as_user=10001,
        seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
    ),
    "container_security_context": k8s.V1SecurityContext(
        allow_privilege_escalation=False,
        capabilities=k8s.V1Capabilities(drop=["ALL"]),
    ),
    "get_logs": True,
}

with DAG(
    dag_id="session_report",
    schedule="0 6 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
):
    check = KubernetesPodOperator(
        task_id="check_input",
        arguments=["check", "--date={{ ds }}"],
        container_resources=LIGHT,
        **COMMON,
    )
    features = KubernetesPodOperator(
        task_id="build_features",
        arguments=["features", "--date={{ ds }}"],
        container_resources=HEAVY,
        # The large nodes are tainted, so that only tasks that ask get there.
        node_selector={"example.com/node-group": "spark"},
        tolerations=[
            k8s.V1Toleration(
                key="example.com/spark", operator="Exists", effect="NoSchedule"
            )
        ],
        **COMMON,
    )
    report = KubernetesPodOperator(
        task_id="publish_report",
        arguments=["publish", "--date={{ ds }}"],
        container_resources=LIGHT,
        **COMMON,
    )
    check >> features >> report
