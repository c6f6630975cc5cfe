"""The site's own pages."""

import json

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from .ops import run


@csrf_exempt
@require_POST
def ops(request):
    """Run the operations in the body (see ops.py) and answer with their results."""
    request.answer_status = 200
    results = [run(request, op) for op in json.loads(request.body)]
    return JsonResponse({"results": results}, status=request.answer_status)


def page(request):
    """An ordinary page: session, user and messages in a template."""
    return render(request, "page.html", {"items": list(request.session.items())})


def untouched(request):
    """A page that has nothing to do with the session."""
    return HttpResponse("untouched", content_type="text/plain")
