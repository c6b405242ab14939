"""Runs in the scheduler, for each pod that Airflow is about to start."""

import os


def pod_mutation_hook(pod):
    """Workers run the image of the scheduler, to the digest."""
    labels = pod.metadata.labels or {}
    if labels.get("kubernetes_executor") != "True":
        return  # a KubernetesPodOperator's pod has an image of its own
    for container in pod.spec.containers:
        if container.name == "base":
            container.image = os.environ["AIRFLOW_WORKER_IMAGE"]
